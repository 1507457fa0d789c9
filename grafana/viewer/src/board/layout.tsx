/** Layout of a board: the controls above, the panels below. */
import type { GrafanaTheme2 } from '@grafana/data';
import {
  type SceneComponentProps,
  type SceneObject,
  SceneObjectBase,
  type SceneObjectState,
} from '@grafana/scenes';
import { useStyles2 } from '@grafana/ui';
import { css } from '@emotion/css';

interface State extends SceneObjectState {
  controls: SceneObject[];
  body: SceneObject;
  /** Only the panels are visible; the hidden controls keep refreshing. */
  isBare?: boolean;
}

export class BoardScene extends SceneObjectBase<State> {
  static Component = Rendered;
}

const styles = (theme: GrafanaTheme2) => ({
  controls: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'center', gap: theme.spacing(1) }),
  body: css({
    flexGrow: 1,
    display: 'flex',
    // The library stacks all panels on a narrow screen; half as wide ones belong beside each other.
    [theme.breakpoints.down('md')]: {
      '& .react-grid-layout': { display: 'flex', flexWrap: 'wrap', columnGap: 7 },
      '& .react-grid-item': { marginBottom: theme.spacing(1) },
    },
    [theme.breakpoints.down('sm')]: {
      '& [data-testid="data-testid header-container"]': { gap: 0, paddingLeft: theme.spacing(1) },
      '& [data-testid="data-testid header-container"] h2': { fontSize: 13 },
    },
  }),
});

function Rendered({ model }: SceneComponentProps<BoardScene>) {
  const style = useStyles2(styles);
  const { controls, body, isBare } = model.useState();
  return (
    <>
      <div className={style.controls} style={isBare ? { display: 'none' } : undefined}>
        {controls.map((control) => (
          <control.Component key={control.state.key} model={control} />
        ))}
      </div>
      <div className={style.body}>
        <body.Component model={body} />
      </div>
    </>
  );
}
