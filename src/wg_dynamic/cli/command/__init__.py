"""The command wg-dynamic(1): a module for each noun, which says what it takes and does it."""
