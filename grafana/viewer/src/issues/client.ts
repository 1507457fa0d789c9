/** Client of the issue tracker. */
import { ISSUES, request } from '../store/client';

export type IssueState = 'open' | 'resolved' | 'ignored';
export const STATES: IssueState[] = ['open', 'resolved', 'ignored'];
export type IssueAction = 'resolve' | 'ignore' | 'reopen';

/** Times are RFC 3339. */
export interface Issue {
  fingerprint: string;
  type: string;
  /** Where it is raised. */
  place: string;
  message: string;
  service: string;
  route: string;
  state: IssueState;
  state_since: string;
  /** How often it came back after it was resolved. */
  regressions: number;
  first_seen: string;
  last_seen: string;
  first_release: string;
  last_release: string;
  count: number;
  trace_id: string;
  /** Occurrences in each of the last 24 hours, the oldest first. */
  trend: number[];
}

interface Counted {
  count: number;
  first_seen: string;
  last_seen: string;
}

interface Frame {
  file: string;
  line: number;
  function: string;
  /** The source line; empty if it is not known. */
  source: string;
  /** Whether it is the application's code. */
  own: boolean;
}

export interface IssueDetails extends Issue {
  stacktrace: string;
  /** The outermost first. */
  frames: Frame[];
  releases: (Counted & { release: string })[];
  routes: (Counted & { route: string })[];
  services: (Counted & { service: string })[];
  examples: { trace_id: string; time: string; service: string; release: string; route: string }[];
  /** Occurrences by hour. */
  history: { time: string; count: number }[];
}

export interface IssueList {
  issues: Issue[];
  total: number;
  /** When the issue tracker last read the logs; null if it has not. */
  read: string | null;
}

export const listIssues = (parameters: Record<string, string>, signal: AbortSignal) =>
  request<IssueList>(ISSUES, '/api/v1/issues', parameters, { signal });

export const readIssue = (fingerprint: string, signal: AbortSignal) =>
  request<IssueDetails>(
    ISSUES,
    `/api/v1/issues/${encodeURIComponent(fingerprint)}`,
    {},
    { signal },
  );

/** Change the state of an issue; returns the issue as it is then. */
export const changeIssue = (fingerprint: string, action: IssueAction) =>
  request<IssueDetails>(
    ISSUES,
    `/api/v1/issues/${encodeURIComponent(fingerprint)}/${action}`,
    {},
    { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } },
  );
