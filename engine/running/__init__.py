"""Who does what was decided: workers, models, tools, checks, and the record of it all."""
