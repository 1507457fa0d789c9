/** The page of issues: their list, or with `id=` in the URL one of them. */
import { useLocation } from '../pages/hooks';
import { IssuePage } from './detail';
import { IssueListPage } from './list';

export default function IssuesPage() {
  const id = new URLSearchParams(useLocation().search).get('id')?.trim();
  return id ? <IssuePage key={id} id={id} /> : <IssueListPage />;
}
