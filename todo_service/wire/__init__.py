"""JSON, CSV and iCalendar: the documents that come in and go out."""
