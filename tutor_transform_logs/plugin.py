"""What the plugin registers with Tutor, and nothing else."""

from __future__ import annotations

from tutor import hooks

from tutor_transform_logs import commands, images, manifests, rendering
from tutor_transform_logs.__about__ import __version__
from tutor_transform_logs.lms_job.config.setting import PREFIX
from tutor_transform_logs.settings import SETTINGS, tutor_default

hooks.Filters.CONFIG_DEFAULTS.add_items(
    [
        (f"{PREFIX}VERSION", __version__),
        (images.TAG_SETTING, images.TAG),
        *((setting.name, tutor_default(setting)) for setting in SETTINGS),
    ]
)

# The job's code is rendered from the package itself, so the package's folder is a template root, too.
hooks.Filters.ENV_TEMPLATE_ROOTS.add_items([str(rendering.data_dir("templates")), str(rendering.PACKAGE)])
hooks.Filters.ENV_TEMPLATE_TARGETS.add_items(
    [
        (rendering.JOB_CODE, str(rendering.ENV_CODE.parent)),
        (rendering.TASKS, "plugins"),
        (rendering.KUBERNETES, "plugins"),
        (images.BUILD, "plugins"),
    ]
)
hooks.Filters.ENV_TEMPLATE_TARGETS.add(priority=hooks.priorities.LOW + 1)(
    manifests.check_schedule  # type: ignore[arg-type]  # a generator: see there
)
hooks.Filters.ENV_TEMPLATE_VARIABLES.add_items(manifests.TEMPLATE_VARIABLES)
hooks.Filters.IS_FILE_RENDERED.add()(rendering.render_unless_ours)

for patch in sorted(rendering.data_dir("patches").iterdir()):
    hooks.Filters.ENV_PATCHES.add_item((patch.name, patch.read_text(encoding="utf-8")))

hooks.Filters.IMAGES_BUILD.add()(images.add_to_build)
hooks.Filters.IMAGES_PULL.add()(images.add_to_share)
hooks.Filters.IMAGES_PUSH.add()(images.add_to_share)
hooks.Filters.CLI_DO_INIT_TASKS.add()(commands.add_init_task)

# Aspects has a job of the same name: the one that comes last is the one that Tutor runs.
hooks.Filters.CLI_DO_COMMANDS.add_item(commands.transform_tracking_logs, priority=hooks.priorities.LOW)
hooks.Filters.CLI_COMMANDS.add_item(commands.transform_logs)
