"""geodl: run Esri model definitions over STAC scenes. Import the submodules; this package imports nothing."""
