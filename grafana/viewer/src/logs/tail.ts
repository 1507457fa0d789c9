/** Lines as they arrive: by a WebSocket, or by asking again where there is none. */
import { useEffect, useState } from 'react';
import { STORE, urlOf } from '../store/client';
import { type LogLine, type Stream, linesOf, queryLines } from '../store/loki';

export type TailState = 'connecting' | 'live' | 'polling' | 'not reachable';

const POLL_MS = 2000;
/** After a lost connection another one is tried. */
const AGAIN_MS = 15_000;
const CONNECT_MS = 5000;
const MOST = 1000;
/** Lines that are asked for again, because they arrive late. */
const LATE_MS = 10_000;

const keyOf = ({ time, text }: LogLine): string => `${time} ${text}`;

/** Lines with new ones before them, each once, the newest first, not more than are shown. */
export function merged(known: LogLine[], fresh: LogLine[]): LogLine[] {
  const seen = new Set(known.map(keyOf));
  const added = fresh.filter((line) => !seen.has(keyOf(line)));
  if (!added.length) return known;
  return [...added, ...known]
    .sort((one, other) => (BigInt(one.time) < BigInt(other.time) ? 1 : -1))
    .slice(0, MOST);
}

/**
 * Call back with new lines until the returned function is called.
 *
 * @param query In LogQL.
 * @param since Milliseconds since 1970.
 */
export function follow(
  query: string,
  since: number,
  onLines: (lines: LogLine[]) => void,
  onState: (state: TailState) => void,
): () => void {
  const aborter = new AbortController();
  let socket: WebSocket | undefined;
  let polling: ReturnType<typeof setTimeout> | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let from = since;
  const took = (lines: LogLine[]) => {
    if (!lines.length) return;
    from = Math.max(from, ...lines.map(({ at }) => at));
    onLines(lines);
  };
  const poll = async () => {
    try {
      const { signal } = aborter;
      took(await queryLines(query, from - LATE_MS, Date.now() + 1000, MOST, { signal }));
      onState('polling');
    } catch {
      if (!aborter.signal.aborted) onState('not reachable');
    }
    if (!aborter.signal.aborted) polling = setTimeout(() => void poll(), POLL_MS);
  };
  const connect = () => {
    try {
      const url = urlOf(STORE, '/loki/api/v1/tail', {
        query,
        start: `${Math.floor(from)}000000`,
        limit: String(MOST),
      });
      url.protocol = url.protocol.replace('http', 'ws');
      socket = new WebSocket(url);
    } catch {
      void poll();
      return;
    }
    const late = setTimeout(() => socket?.close(), CONNECT_MS);
    socket.onopen = () => {
      clearTimeout(late);
      clearTimeout(polling);
      onState('live');
    };
    socket.onmessage = ({ data }: MessageEvent<string>) =>
      took(linesOf((JSON.parse(data) as { streams?: Stream[] }).streams ?? []));
    socket.onclose = () => {
      clearTimeout(late);
      if (aborter.signal.aborted) return;
      clearTimeout(polling);
      void poll();
      again = setTimeout(connect, AGAIN_MS);
    };
  };
  connect();
  return () => {
    aborter.abort();
    socket?.close();
    clearTimeout(polling);
    clearTimeout(again);
  };
}

/** The lines that have arrived since it was switched on, and how. */
export function useTail(query: string, isOn: boolean): { lines: LogLine[]; state: TailState } {
  const [held, setHeld] = useState<{ query: string; lines: LogLine[]; state: TailState }>();
  useEffect(() => {
    if (!isOn) return undefined;
    const empty = { query, lines: [] as LogLine[], state: 'connecting' as TailState };
    const of = (before: typeof held) => (before?.query === query ? before : empty);
    return follow(
      query,
      Date.now(),
      (fresh) => setHeld((before) => ({ ...of(before), lines: merged(of(before).lines, fresh) })),
      (state) => setHeld((before) => ({ ...of(before), state })),
    );
  }, [query, isOn]);
  if (!isOn || held?.query !== query) return { lines: [], state: 'connecting' };
  return held;
}
