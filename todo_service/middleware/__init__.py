"""What happens to every request alike, outermost first."""

from todo_service.middleware.access_log import log_request
from todo_service.middleware.cors import answer_options
from todo_service.middleware.errors import answer_errors
from todo_service.middleware.load_limit import count_in_flight
from todo_service.middleware.metrics import measure
from todo_service.middleware.request_id import give_request_id
from todo_service.middleware.streaming import send_in_pieces

CHAIN = (measure, count_in_flight, give_request_id, log_request, answer_errors, answer_options, send_in_pieces)
