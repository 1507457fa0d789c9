/** Gauge panel. */
import {
  type FieldDisplay,
  type GrafanaTheme2,
  type PanelProps,
  formattedValueToString,
} from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen';
import { useTheme2 } from '@grafana/ui';
import { ReducedValues } from './reducedValues';

/** Degrees, clockwise from the top, at which the arc begins and ends. */
const FROM = -120;
const TO = 120;

export const GAUGE_OPTIONS = {
  showThresholdMarkers: true,
  orientation: 'auto',
  reduceOptions: { calcs: ['lastNotNull'], values: false },
};

function at(angle: number, radius: number): string {
  const turn = (angle * Math.PI) / 180;
  return `${radius * Math.sin(turn)} ${-radius * Math.cos(turn)}`;
}

/** An arc around the origin between two fractions of the dial. */
export function arc(from: number, to: number, radius: number): string {
  const [first, last] = [FROM + from * (TO - FROM), FROM + to * (TO - FROM)];
  const isLong = last - first > 180 ? 1 : 0;
  return `M ${at(first, radius)} A ${radius} ${radius} 0 ${isLong} 1 ${at(last, radius)}`;
}

const part = (value: number, low: number, high: number): number =>
  Math.min(1, Math.max(0, (value - low) / (high - low || 1)));

/** The threshold zones of the dial. */
function zones({ field }: FieldDisplay, theme: GrafanaTheme2) {
  const { min = 0, max = 100, thresholds } = field;
  const steps = thresholds?.steps ?? [];
  return steps.map(({ value, color }, index) => ({
    from: part(value, min ?? 0, max ?? 100),
    to: part(steps[index + 1]?.value ?? Infinity, min ?? 0, max ?? 100),
    color: theme.visualization.getColorByName(color),
  }));
}

interface Props {
  figure: FieldDisplay;
  width: number;
  height: number;
  showZones: boolean;
  /** A single dial needs no name besides the panel's title. */
  isAlone: boolean;
}

function Dial({ figure, width, height, showZones, isAlone }: Props) {
  const theme = useTheme2();
  const { display, field } = figure;
  const text = formattedValueToString(display);
  const filled = part(display.numeric, field.min ?? 0, field.max ?? 100);
  const line = { fill: 'none', strokeWidth: 16 };
  return (
    <svg
      width={width}
      height={height}
      viewBox="-100 -100 200 165"
      role="img"
      aria-label={`${display.title ?? ''} ${text}`}
    >
      <path d={arc(0, 1, 76)} stroke={theme.colors.background.secondary} {...line} />
      {filled > 0 && <path d={arc(0, filled, 76)} stroke={display.color} {...line} />}
      {showZones &&
        zones(figure, theme).map(({ from, to, color }) =>
          to > from ? (
            <path key={from} d={arc(from, to, 92)} stroke={color} fill="none" strokeWidth={5} />
          ) : null,
        )}
      <text textAnchor="middle" y={12} fontSize={34} fontWeight={500} fill={display.color}>
        {text}
      </text>
      <text textAnchor="middle" y={56} fontSize={15} fill={theme.colors.text.secondary}>
        {isAlone ? '' : display.title}
      </text>
    </svg>
  );
}

export function GaugePanel(props: PanelProps<Options>) {
  return (
    <ReducedValues
      {...props}
      draw={({ figure, width, height, count }) => (
        <Dial
          figure={figure}
          width={width}
          height={height}
          showZones={props.options.showThresholdMarkers}
          isAlone={count === 1}
        />
      )}
    />
  );
}
