/** The page of issues: errors of one kind, from the keeper of issues. */
import { ISSUES, request } from '../store/client';
import { useAsked } from '../store/hooks';
import { Nothing, Problem } from '../store/problem';
import { useLocation } from '../pages/hooks';
import { Item, LabelList, List } from '../watch/parts';

type Issue = Record<string, unknown> & { fingerprint: string };

export default function IssuesPage() {
  const { search } = useLocation();
  const id = new URLSearchParams(search).get('id') ?? '';
  const { result, error, isLoading } = useAsked(search, async (signal) => {
    if (id)
      return [
        await request<Issue>(ISSUES, `/api/v1/issues/${encodeURIComponent(id)}`, {}, { signal }),
      ];
    const answer = await request<{ issues: Issue[] }>(
      ISSUES,
      '/api/v1/issues',
      Object.fromEntries(new URLSearchParams(search)),
      { signal },
    );
    return answer.issues;
  });
  return (
    <>
      <Problem error={error} isLoading={isLoading} />
      {result && !result.length && <Nothing title="No issue matches" />}
      <List label="Issues">
        {(result ?? []).map((issue) => (
          <Item key={issue.fingerprint} title={issue.fingerprint}>
            <LabelList
              labels={Object.fromEntries(
                Object.entries(issue).filter(
                  (entry): entry is [string, string] => typeof entry[1] === 'string',
                ),
              )}
            />
          </Item>
        ))}
      </List>
    </>
  );
}
