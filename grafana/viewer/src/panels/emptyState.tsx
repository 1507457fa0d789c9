/** Empty state of a panel: loading, error or no data. */
import type { ComponentType } from 'react';
import { type GrafanaTheme2, LoadingState, type PanelProps } from '@grafana/data';
import { Icon, type IconName, useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';

const styles = (theme: GrafanaTheme2) => ({
  box: css({
    height: '100%',
    display: 'flex',
    flexDirection: 'column',
    alignItems: 'center',
    justifyContent: 'center',
    gap: theme.spacing(0.5),
    textAlign: 'center',
    overflow: 'auto',
    color: theme.colors.text.secondary,
  }),
  error: css({ color: theme.colors.error.text }),
  words: css({ maxWidth: '60ch', overflowWrap: 'anywhere' }),
});

interface EmptyStateProps {
  what: string;
  more?: string;
  icon?: IconName;
  isError?: boolean;
}

export function EmptyState({ what, more, icon, isError }: EmptyStateProps) {
  const style = useStyles2(styles);
  return (
    <div className={style.box} role={isError ? 'alert' : 'status'}>
      {icon && <Icon name={icon} size="lg" className={isError ? style.error : undefined} />}
      <div className={isError ? style.error : undefined}>{what}</div>
      {more && <small className={style.words}>{more}</small>}
    </div>
  );
}

function emptyStateOf({ data, fieldConfig }: PanelProps): EmptyStateProps | undefined {
  if (data.series.some((frame) => frame.length > 0)) return undefined;
  if (data.state === LoadingState.Error) {
    const reason = data.errors?.map(({ message }) => message).join('; ');
    return { what: 'The query failed', more: reason, icon: 'exclamation-triangle', isError: true };
  }
  if (data.state === LoadingState.Loading || data.state === LoadingState.NotStarted) {
    return { what: 'Loading …' };
  }
  return { what: fieldConfig.defaults.noValue ?? 'No data' };
}

/** Wraps a panel: renders the empty state as long as there is no data. */
export function withEmptyState<T>(
  Panel: ComponentType<PanelProps<T>>,
): ComponentType<PanelProps<T>> {
  return function PanelOrEmptyState(props: PanelProps<T>) {
    const empty = emptyStateOf(props);
    return empty ? <EmptyState {...empty} /> : <Panel {...props} />;
  };
}
