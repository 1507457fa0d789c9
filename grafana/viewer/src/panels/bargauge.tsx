/** Bar gauge panel. */
import { type PanelProps, type VizOrientation, getDisplayProcessor } from '@grafana/data';
import type { Options } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import { BarGauge, useTheme2 } from '@grafana/ui';
import { ReducedValues } from './reducedValues';

export const BAR_GAUGE_OPTIONS = {
  displayMode: 'gradient',
  namePlacement: 'auto',
  valueMode: 'color',
  showUnfilled: true,
  orientation: 'auto',
  minVizWidth: 8,
  minVizHeight: 16,
  maxVizHeight: 300,
  reduceOptions: { calcs: ['lastNotNull'], values: false },
};

/** Up to this height a bar has its name beside it, not above. */
const BESIDE = 40;

/** The space of a name beside its bar is computed for the default size, so no other size fits. */
function sizes({ text, namePlacement }: Options, height: number): Options['text'] {
  const isBeside = namePlacement === 'left' || (namePlacement === 'auto' && height <= BESIDE);
  return isBeside ? { ...text, titleSize: undefined } : text;
}

export function BarGaugePanel(props: PanelProps<Options>) {
  const theme = useTheme2();
  const { options } = props;
  return (
    <ReducedValues
      {...props}
      smallest={{ width: options.minVizWidth, height: options.minVizHeight }}
      largest={options.maxVizHeight}
      spacing={options.displayMode === 'lcd' ? 2 : 10}
      draw={({ figure, width, height, factors, orientation }) => (
        <BarGauge
          value={figure.display}
          field={figure.field}
          display={
            figure.view?.getFieldDisplayProcessor(figure.colIndex ?? 0) ?? getDisplayProcessor()
          }
          width={width}
          height={height}
          alignmentFactors={factors}
          orientation={orientation as VizOrientation}
          displayMode={options.displayMode}
          namePlacement={options.namePlacement}
          valueDisplayMode={options.valueMode}
          showUnfilled={options.showUnfilled}
          text={sizes(options, height)}
          theme={theme}
        />
      )}
    />
  );
}
