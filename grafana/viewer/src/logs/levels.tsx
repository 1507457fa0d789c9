/** Levels of log lines: their colours and marks. */
import type { GrafanaTheme2 } from '@grafana/data';
import { useTheme2 } from '@grafana/ui';
import { legible } from '../host/theme';

const NAMES: Record<string, string> = {
  fatal: 'purple',
  critical: 'purple',
  error: 'red',
  warn: 'orange',
  warning: 'orange',
  info: 'green',
  debug: 'blue',
  trace: 'light-blue',
};

export const levelColour = (theme: GrafanaTheme2, level: string): string =>
  NAMES[level]
    ? legible(
        theme.visualization.getColorByName(NAMES[level]),
        theme.colors.background.canvas,
        theme.isDark,
      )
    : theme.colors.text.secondary;

export function LevelMark({ level }: { level: string }) {
  const theme = useTheme2();
  return (
    <b style={{ color: levelColour(theme, level), flex: 'none', width: 48 }}>
      {level || 'unknown'}
    </b>
  );
}
