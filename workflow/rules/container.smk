"""The image in which every rule runs with --sdm apptainer. None is published: a user names the one that was built."""

import os

from snakemake.exceptions import WorkflowError

image = os.environ.get("TTA_CONTAINER")
if not image and "APPTAINER" in {method.name for method in workflow.deployment_settings.deployment_method}:
    raise WorkflowError(
        "--sdm apptainer: expected the image in the environment variable TTA_CONTAINER, found none."
        " Without one, rules would run outside of any. See docs/environments.md."
    )


container: image
