/** The page of traces: a search, or with `id=` in the URL one trace. */
import { useLocation } from '../pages/hooks';
import { SearchPage } from './search';
import { TracePage } from './trace';

export default function TracesPage() {
  const id = new URLSearchParams(useLocation().search).get('id')?.trim();
  return id ? <TracePage key={id} id={id} /> : <SearchPage />;
}
