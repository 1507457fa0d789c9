/** The page of a trace. */
import { TextLink } from '@grafana/ui';
import { NotFoundError } from '../store/client';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { readTrace } from '../store/tempo';
import { Item, List, duration } from '../watch/parts';
import { pageUrl } from '../urls';

export function TracePage({ id }: { id: string }) {
  const { result: spans, error, isLoading } = useAsked(id, (signal) => readTrace(id, signal));
  if (error instanceof NotFoundError || (spans && !spans.length))
    return (
      <Nothing title={`The store has no trace ${id}`}>
        <p>It was not kept, is older than what is stored, or arrives within the next seconds.</p>
        <TextLink href={pageUrl('traces')}>Search traces</TextLink>
      </Nothing>
    );
  return (
    <>
      <Problem error={error} isLoading={isLoading} />
      <List label="Spans">
        {(spans ?? []).map((span) => (
          <Item
            key={span.id}
            title={`${span.service}: ${span.name}`}
            actions={duration((span.end - span.start) / 1000)}
          />
        ))}
      </List>
    </>
  );
}
