"""The alternatives, a module each.

Each has some of these functions. Called in a fresh process, unless it is a service's:

- ``publish(where, what, size, rounds)``: seconds of each publish of the same data, one after the
  other, each gone before the next;
- ``store(where, name, columns, rows, batch_rows)``: keep a table, to be opened as ``name``;
- ``first_value(where, name, column)``: seconds from nothing of the table to a value of the column.
"""
