"""Every board."""

from dashboards import overview
from dashboards.board import Board

BOARDS: tuple[Board, ...] = (overview.BOARD,)
