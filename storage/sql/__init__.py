"""The record in a database: its tables, and all that reads and writes them."""
