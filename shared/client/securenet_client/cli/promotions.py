"""`securenet models promote`, `promotions`, `approve`, `reject` and `rollback`: which version serves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from securenet_client.cli.invocation import Invocation, OutputFormat, add_command

if TYPE_CHECKING:
    from securenet_client.registry.records import Promotion

Name = Annotated[str, typer.Argument(help="Model.", metavar="NAME")]
Reason = Annotated[str, typer.Option(help="Why; the audit log keeps it.")]
Alias = Annotated[str, typer.Option(help="champion or challenger.")]
VersionArgument = Annotated[str, typer.Argument(help="Number, alias or sha256:digest.", metavar="VERSION")]
PromotionName = Annotated[
    str, typer.Argument(help="As `promotions` shows it: models/…/promotions/….", metavar="PROMOTION")
]


def add_to(group: typer.Typer) -> None:
    """Adds the commands to the group of models."""
    add_command(
        group, promote, "promote", examples=("securenet models promote flow-threat 3 --reason 'better on May'",)
    )
    add_command(
        group, promotions, "promotions",
        examples=("securenet models promotions flow-threat", "securenet models promotions flow-threat --state pending"),
    )  # fmt: skip
    add_command(group, approve, "approve", examples=("securenet models approve models/flow-threat/promotions/1f3c",))
    add_command(
        group, reject, "reject",
        examples=("securenet models reject models/flow-threat/promotions/1f3c --reason 'not before Monday'",),
    )  # fmt: skip
    add_command(
        group, rollback, "rollback", examples=("securenet models rollback flow-threat --reason 'too many alarms'",)
    )


def promote(
    run: Invocation,
    *,
    name: Name,
    version: VersionArgument,
    alias: Alias = "champion",
    reason: Reason = "",
    validate_only: Annotated[bool, typer.Option("--validate-only", help="Run every gate and move nothing.")] = False,
    override_gates: Annotated[
        bool, typer.Option("--override-gates", help="Although a gate fails; needs admin and a reason.")
    ] = False,
) -> None:
    """Move an alias to a version, if every gate passes; where policy wants a second person, once one approves."""
    with run.net("registry") as net:
        promotion = net.registry.promote_model_version(
            name, version, alias=alias, reason=reason, validate_only=validate_only, override_gates=override_gates
        )
    _show(run, promotion)


def _show(run: Invocation, promotion: Promotion) -> None:
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    if run.out.form == OutputFormat.TABLE:
        run.out.table(
            [
                (gate.name, "passed" if gate.passed else "failed", gate.measured, gate.required)
                for gate in promotion.gates
            ],
            ("gate", "result", "measured", "required"),
            f"{promotion.alias}: {promotion.from_version or 'none'} → {promotion.to_version} ({promotion.state})",
        )
        if promotion.name and promotion.state == "pending":
            run.out.say(f"somebody else must approve it: securenet models approve {promotion.name}")
    else:
        run.out.document(plain(promotion))


def promotions(
    run: Invocation,
    *,
    name: Name,
    state: Annotated[str, typer.Option(help="Only pending, committed or rejected ones.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 100,
) -> None:
    """Show moves of a model's aliases, done and asked for, the latest first."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("registry") as net:
        found = net.registry.list_promotions(name, state=state, page_size=min(limit, 1000))
        records = [plain(promotion) for promotion in islice(found, limit)]
    columns = (
        "name", "alias", "from_version", "to_version", "state", "generation", "requested_by", "decided_by", "reason",
        "create_time",
    )  # fmt: skip
    run.out.records(records, columns, name)


def approve(run: Invocation, *, promotion: PromotionName, reason: Reason = "") -> None:
    """Let a promotion that waits take place. Who asked for it may not; every gate is looked at once more."""
    with run.net("registry") as net:
        done = net.registry.approve_promotion(promotion, reason=reason)
    _show(run, done)


def reject(run: Invocation, *, promotion: PromotionName, reason: Reason = "") -> None:
    """End a promotion that waits; who asked for it may take it back."""
    with run.net("registry") as net:
        done = net.registry.reject_promotion(promotion, reason=reason)
    _show(run, done)


def rollback(
    run: Invocation,
    *,
    name: Name,
    to_version: Annotated[int, typer.Option(help="Version to point at; the one before if 0.")] = 0,
    alias: Alias = "champion",
    reason: Reason = "",
) -> None:
    """Point an alias back at the version before."""
    from securenet_client.messages import plain  # noqa: PLC0415 - start-up must be quick

    with run.net("registry") as net:
        promotion = net.registry.rollback_model(name, alias=alias, to_version=to_version, reason=reason)
    if run.out.form == OutputFormat.TABLE:
        run.out.say(f"{promotion.alias}: version {promotion.from_version} → {promotion.to_version}")
    else:
        run.out.document(plain(promotion))
