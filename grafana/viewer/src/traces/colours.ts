/** The colours of services: one each, the same in all parts of a page. */
import { useMemo } from 'react';
import { useTheme2 } from '@grafana/ui';
import { legible } from '../host/theme';

const NAMES = [
  'blue',
  'orange',
  'purple',
  'green',
  'yellow',
  'dark-red',
  'light-blue',
  'dark-green',
];

export function useServiceColours(services: string[]): (service: string) => string {
  const theme = useTheme2();
  const known = [...new Set(services)].sort().join('\n');
  return useMemo(() => {
    const order = known.split('\n');
    const colours = NAMES.map((name) =>
      legible(
        theme.visualization.getColorByName(name),
        theme.colors.background.canvas,
        theme.isDark,
      ),
    );
    return (service: string) =>
      colours[Math.max(0, order.indexOf(service)) % NAMES.length] ?? theme.colors.text.primary;
  }, [theme, known]);
}
