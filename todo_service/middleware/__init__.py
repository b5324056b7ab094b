"""What happens to every request alike, outermost first."""

from todo_service.middleware.errors import answer_errors
from todo_service.middleware.request_id import give_request_id
from todo_service.middleware.request_log import log_request

CHAIN = (give_request_id, log_request, answer_errors)
