"""The STAC API over a catalog, on stac-fastapi; `app.create_app` puts it together."""

import logging

# On import it reads its settings, which are not ours, and complains about their defaults.
logging.getLogger("stac_fastapi.types.config").setLevel(logging.ERROR)
