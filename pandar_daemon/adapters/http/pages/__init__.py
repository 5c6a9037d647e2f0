"""The page of an approval link: HTML made here, no script needed, nothing from elsewhere."""
