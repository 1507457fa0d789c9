"""Every board."""

from dashboards import endpoint, overview
from dashboards.board import Board

BOARDS: tuple[Board, ...] = (overview.BOARD, endpoint.BOARD)
