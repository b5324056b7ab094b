DROP TABLE task_clocks;
