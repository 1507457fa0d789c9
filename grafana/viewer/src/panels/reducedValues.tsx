/** Values reduced from series, and their layout in the panel. */
import type { ReactElement } from 'react';
import {
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
  type PanelProps,
  VizOrientation,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from '@grafana/data';
import type { SingleStatBaseOptions } from '@grafana/schema';
import { VizRepeater, useTheme2 } from '@grafana/ui';

export interface Drawn {
  figure: FieldDisplay;
  width: number;
  height: number;
  count: number;
  factors: DisplayValueAlignmentFactors;
  orientation: VizOrientation;
}

interface Props<T> extends PanelProps<T> {
  /** Also show a sparkline. */
  sparkline?: boolean;
  spacing?: number;
  smallest?: { width?: number; height?: number };
  largest?: number;
  draw: (drawn: Drawn) => ReactElement;
}

/** The data link of a value, if there is one. */
export function linkOf({
  hasLinks,
  getLinks,
}: FieldDisplay): { href: string; title: string } | undefined {
  const [link] = hasLinks ? (getLinks?.() ?? []) : [];
  return link && { href: link.href, title: link.title };
}

export function ReducedValues<T extends SingleStatBaseOptions>(props: Props<T>) {
  const theme = useTheme2();
  const { data, options, fieldConfig, replaceVariables, timeZone, width, height } = props;
  const figures = getFieldDisplayValues({
    data: data.series,
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables,
    theme,
    timeZone,
    sparkline: props.sparkline,
  });
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      source={data}
      getValues={() => figures}
      getAlignmentFactors={(values) => getDisplayValueAlignmentFactors(values)}
      renderValue={(one) => (
        <Linked figure={one.value}>
          {props.draw({ ...one, figure: one.value, factors: one.alignmentFactors })}
        </Linked>
      )}
      renderCounter={props.renderCounter}
      width={width}
      height={height}
      itemSpacing={props.spacing ?? 8}
      minVizWidth={props.smallest?.width}
      minVizHeight={props.smallest?.height}
      maxVizHeight={props.largest}
      autoGrid={options.orientation === VizOrientation.Auto}
      orientation={options.orientation as VizOrientation}
    />
  );
}

function Linked({ figure, children }: { figure: FieldDisplay; children: ReactElement }) {
  const link = linkOf(figure);
  return link ? (
    <a href={link.href} title={link.title}>
      {children}
    </a>
  ) : (
    children
  );
}
