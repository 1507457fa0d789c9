/** Counts over time as small bars. */
import { useTheme2 } from '@grafana/ui';

export function Sparkline({
  counts,
  label,
  width = 120,
  height = 28,
}: {
  counts: number[];
  label: string;
  width?: number | string;
  height?: number;
}) {
  const theme = useTheme2();
  const most = Math.max(1, ...counts);
  const part = 100 / Math.max(1, counts.length);
  return (
    <svg role="img" aria-label={label} width={width} height={height}>
      {counts.map((count, index) => {
        const high = count && Math.max(2, (count / most) * height);
        return (
          <rect
            key={index}
            x={`${index * part}%`}
            width={`${part * 0.85}%`}
            y={height - (high || 1)}
            height={high || 1}
            fill={count ? theme.visualization.getColorByName('red') : theme.colors.border.medium}
          />
        );
      })}
    </svg>
  );
}
