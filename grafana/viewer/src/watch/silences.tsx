/** Page of the silences: what they hold back, and for how long; they can be expired here. */
import { useState } from 'react';
import { Alert as Banner, Badge, Button, LinkButton, TextLink } from '@grafana/ui';
import { locationService } from '@grafana/runtime';
import {
  type ManagedAlert,
  type Silence,
  expireSilence,
  managedAlerts,
  silences,
} from '../alertmanager/silences';
import { written } from '../prometheus/matchers';
import { pageUrl } from '../urls';
import { useLocation } from '../pages/hooks';
import { useLoaded } from './hooks';
import { Code, Facts, Item, List, Loading, Quiet, Time } from './parts';

const COLOURS = { active: 'blue', pending: 'orange', expired: 'darkgrey' } as const;

async function load(): Promise<{ known: Silence[]; alerts: ManagedAlert[] }> {
  const [known, alerts] = await Promise.all([silences(), managedAlerts()]);
  return { known, alerts };
}

const againUrl = ({ matchers, comment }: Silence): string =>
  pageUrl(
    'silences/new',
    `?${new URLSearchParams({ filter: written(matchers), comment }).toString()}`,
  );

function Entry({
  silence,
  alerts,
  onExpire,
}: {
  silence: Silence;
  alerts: ManagedAlert[];
  onExpire?: () => void;
}) {
  const { id, state, matchers, from, to, author, comment } = silence;
  const held = alerts.filter(({ status }) => status.silencedBy.includes(id));
  const names = [...new Set(held.map(({ labels }) => labels.alertname))].join(', ');
  return (
    <Item
      badge={<Badge text={state} color={COLOURS[state]} />}
      title={comment}
      actions={
        onExpire ? (
          <Button size="sm" variant="secondary" icon="times" onClick={onExpire}>
            Expire
          </Button>
        ) : (
          <TextLink href={againUrl(silence)} inline={false}>
            Silence again
          </TextLink>
        )
      }
    >
      <Code text={written(matchers)} />
      <Facts
        facts={[
          ['By', author],
          ['From', <Time key="from" at={from} />],
          [state === 'expired' ? 'Ended' : 'Until', <Time key="to" at={to} />],
          ['Holds back', state === 'active' ? names || 'no alert now' : ''],
        ]}
      />
    </Item>
  );
}

export function SilencesPage() {
  const { result, error, refresh } = useLoaded(load);
  const [failure, setFailure] = useState('');
  const [expired, setExpired] = useState('');
  const made = new URLSearchParams(useLocation().search).get('made');
  const { known = [], alerts = [] } = result ?? {};
  const current = known.filter(({ state }) => state !== 'expired');
  const past = known.filter(({ state }) => state === 'expired');
  const fresh = current.find(({ id }) => id === made);
  const expire = ({ id, comment }: Silence) => {
    expireSilence(id).then(
      () => {
        setFailure('');
        setExpired(comment);
        if (id === made) locationService.partial({ made: null }, true);
        refresh();
      },
      (reason: Error) => setFailure(reason.message),
    );
  };
  return (
    <>
      <Quiet>Alerts that match all matchers of a silence notify no one until it ends.</Quiet>
      <LinkButton icon="plus" href={pageUrl('silences/new')}>
        New silence
      </LinkButton>
      <Loading error={error} isLoaded={result !== undefined} />
      {failure && <Banner title={`Not expired: ${failure}`} severity="error" />}
      <div role="status">
        {fresh && (
          <p>
            Silenced until <Time at={fresh.to} />.
          </p>
        )}
        {expired && <p>Expired: {expired}</p>}
        {result && !current.length && <p>No silence is active.</p>}
      </div>
      <List label="Silences">
        {current.map((one) => (
          <Entry key={one.id} silence={one} alerts={alerts} onExpire={() => expire(one)} />
        ))}
      </List>
      {past.length > 0 && (
        <details>
          <summary>{past.length} expired</summary>
          <List label="Expired silences">
            {past.map((one) => (
              <Entry key={one.id} silence={one} alerts={alerts} />
            ))}
          </List>
        </details>
      )}
    </>
  );
}
