/** Keyboard shortcuts and their help dialog. */
import { useContext, useEffect } from 'react';
import { sceneGraph } from '@grafana/scenes';
import { locationService } from '@grafana/runtime';
import { Modal } from '@grafana/ui';
import { BehaviorSubject } from 'rxjs';
import { setSearch } from '../urls';
import type { BoardScene } from '../board/layout';
import { ThemeMode } from './header';
import { useSubject } from './hooks';

export const showShortcuts = new BehaviorSubject(false);

const SHORTCUTS: [string, string][] = [
  ['r', 'refresh'],
  ['k', 'toggle kiosk mode: panels only'],
  ['t', 'toggle light and dark theme'],
  ['Esc', 'back: from one panel to the board, out of kiosk mode'],
  ['h', 'home: all boards'],
  ['Tab', 'next control, panel menu or cell'],
  ['← →', 'in a graph: move the cursor in time; Enter shows links'],
  ['/', 'search: traces, logs, issues, and within a trace'],
  ['↑ ↓', 'in lists and traces: previous and next; Enter opens'],
  ['← →', 'in a trace: fold and unfold'],
  ['l', 'live: show what arrives'],
  ['?', 'show these shortcuts'],
];

/** Whether a text field has the focus. */
export const isTyping = ({ target }: KeyboardEvent): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

const has = (key: string): boolean => new URLSearchParams(location.search).has(key);

function back(): void {
  if (has('kiosk')) setSearch({ kiosk: null });
  else if (has('viewPanel')) setSearch({ viewPanel: null });
}

/**
 * The shortcuts of a page: of a board, or of another one that can be refreshed, and perhaps shown
 * live.
 */
export function useShortcuts(
  scene?: BoardScene,
  refresh?: () => void,
  toggleLive?: () => void,
): void {
  const { mode, change } = useContext(ThemeMode);
  useEffect(() => {
    const actions: Record<string, () => void> = {
      r: () => (scene ? sceneGraph.getTimeRange(scene).onRefresh() : refresh?.()),
      k: () => scene && setSearch({ kiosk: has('kiosk') ? null : '' }),
      t: () => change(mode === 'dark' ? 'light' : 'dark'),
      l: () => toggleLive?.(),
      h: () => locationService.push('/'),
      Escape: back,
      '?': () => showShortcuts.next(!showShortcuts.value),
    };
    const press = (event: KeyboardEvent) => {
      if (
        event.defaultPrevented ||
        event.metaKey ||
        event.ctrlKey ||
        event.altKey ||
        isTyping(event)
      )
        return;
      actions[event.key]?.();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, [scene, refresh, toggleLive, mode, change]);
}

export function Shortcuts() {
  const isOpen = useSubject(showShortcuts);
  return (
    <Modal title="Keyboard shortcuts" isOpen={isOpen} onDismiss={() => showShortcuts.next(false)}>
      <dl style={{ display: 'grid', gridTemplateColumns: 'max-content 1fr', gap: '4px 16px' }}>
        {SHORTCUTS.map(([key, does]) => [
          <dt key={key}>
            <kbd>{key}</kbd>
          </dt>,
          <dd key={does}>{does}</dd>,
        ])}
      </dl>
    </Modal>
  );
}
