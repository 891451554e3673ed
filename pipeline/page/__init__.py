"""What every HTML page shares: the base template, tables, albums of thumbnails, charts as SVG."""
