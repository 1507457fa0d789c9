/** The grid of a board's panels: as in the board on wide screens, rearranged on narrow ones. */
import { SceneGridLayout } from '@grafana/scenes';
import { arrange } from './arrange';

export class Grid extends SceneGridLayout {
  override buildGridLayout(width: number, height: number) {
    // The library has its own layout below 768 pixels: one column, in which figures waste a screen.
    const cells = super.buildGridLayout(Math.max(width, 768), height);
    // What is seen on a narrow screen is not the board's: it must not be written back.
    (this as unknown as { _skipOnLayoutChange: boolean })._skipOnLayoutChange = true;
    return arrange(cells, width);
  }
}
