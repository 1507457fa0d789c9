/** What single keys do. */
import { useContext, useEffect } from 'react';
import { sceneGraph } from '@grafana/scenes';
import { locationService } from '@grafana/runtime';
import { Modal } from '@grafana/ui';
import { BehaviorSubject } from 'rxjs';
import { set } from '../address';
import type { BoardScene } from '../board/layout';
import { Look } from './header';
import { useSubject } from './hooks';

export const showKeys = new BehaviorSubject(false);

const KEYS: [string, string][] = [
  ['r', 'ask everything again'],
  ['k', 'kiosk: only the panels; again to leave'],
  ['t', 'light or dark'],
  ['Esc', 'back: from one panel to the board, out of kiosk'],
  ['h', 'home: all boards'],
  ['Tab', 'to the next control, panel menu or cell'],
  ['← →', 'in a graph: move along the time; Enter to read links'],
  ['?', 'these keys'],
];

/** Whether somebody is writing. */
const isWriting = ({ target }: KeyboardEvent): boolean =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

const has = (key: string): boolean => new URLSearchParams(location.search).has(key);

function back(): void {
  if (has('kiosk')) set({ kiosk: null });
  else if (has('viewPanel')) set({ viewPanel: null });
}

export function useKeys(scene?: BoardScene): void {
  const { mode, change } = useContext(Look);
  useEffect(() => {
    const actions: Record<string, () => void> = {
      r: () => scene && sceneGraph.getTimeRange(scene).onRefresh(),
      k: () => scene && set({ kiosk: has('kiosk') ? null : '' }),
      t: () => change(mode === 'dark' ? 'light' : 'dark'),
      h: () => locationService.push('/'),
      Escape: back,
      '?': () => showKeys.next(!showKeys.value),
    };
    const press = (event: KeyboardEvent) => {
      if (
        event.defaultPrevented ||
        event.metaKey ||
        event.ctrlKey ||
        event.altKey ||
        isWriting(event)
      )
        return;
      actions[event.key]?.();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, [scene, mode, change]);
}

export function Keys() {
  const isOpen = useSubject(showKeys);
  return (
    <Modal title="Keys" isOpen={isOpen} onDismiss={() => showKeys.next(false)}>
      <dl style={{ display: 'grid', gridTemplateColumns: 'max-content 1fr', gap: '4px 16px' }}>
        {KEYS.map(([key, does]) => [
          <dt key={key}>
            <kbd>{key}</kbd>
          </dt>,
          <dd key={does}>{does}</dd>,
        ])}
      </dl>
    </Modal>
  );
}
