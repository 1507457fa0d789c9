/** Bar of a search page: its time range, its results as they arrive, and a refresh. */
import { useCallback } from 'react';
import type { TimeRange } from '@grafana/data';
import { ToolbarButton } from '@grafana/ui';
import { useShortcuts } from '../pages/shortcuts';
import { setSearch } from '../urls';
import { Bar } from './form';
import { RangeControl } from './range';

export function SearchBar({
  what,
  isLive,
  range,
  zone,
  onZone,
  onRefresh,
}: {
  what: string;
  isLive: boolean;
  range: TimeRange;
  zone: string;
  onZone: (zone: string) => void;
  onRefresh: () => void;
}) {
  const toggleLive = useCallback(() => {
    setSearch(isLive ? { live: null } : { live: 'true', from: 'now-15m', to: 'now' });
  }, [isLive]);
  useShortcuts(undefined, onRefresh, toggleLive);
  return (
    <Bar>
      <RangeControl range={range} zone={zone} onZone={onZone} />
      <ToolbarButton
        variant={isLive ? 'active' : 'canvas'}
        icon={isLive ? 'pause' : 'play'}
        aria-pressed={isLive}
        tooltip={`Show ${what} as they arrive (l)`}
        onClick={toggleLive}
      >
        Live
      </ToolbarButton>
      <ToolbarButton variant="canvas" icon="sync" tooltip="Refresh (r)" onClick={onRefresh} />
    </Bar>
  );
}
