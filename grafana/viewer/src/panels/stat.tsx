/** Stat panel. */
import type { PanelProps } from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import { BigValue, useTheme2 } from '@grafana/ui';
import { ReducedValues } from './reducedValues';

export const STAT_OPTIONS = {
  colorMode: 'value',
  graphMode: 'area',
  justifyMode: 'auto',
  textMode: 'auto',
  wideLayout: true,
  orientation: 'auto',
  reduceOptions: { calcs: ['lastNotNull'], values: false },
};

export function StatPanel(props: PanelProps<Options>) {
  const theme = useTheme2();
  const { options } = props;
  return (
    <ReducedValues
      {...props}
      sparkline={options.graphMode !== 'none'}
      draw={({ figure, width, height, count, factors }) => (
        <BigValue
          value={figure.display}
          sparkline={figure.sparkline}
          count={count}
          alignmentFactors={factors}
          width={width}
          height={height}
          colorMode={options.colorMode as never}
          graphMode={options.graphMode as never}
          justifyMode={options.justifyMode as never}
          textMode={options.textMode as never}
          text={options.text}
          disableWideLayout={!options.wideLayout}
          theme={theme}
        />
      )}
    />
  );
}
