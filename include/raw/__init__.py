"""Raw logs: deliveries, their form, what a row must be, and imports of other formats. May import `lake` and the ground."""
