"""Questions asked of the theorem: one module for each chapter that asks more, under the chapter's name."""
