"""A verdict in a sentence: what was decided, why, and what it was held against. Pure."""

from roadloop_schemas.frames import BudgetState, FrameScreened, ModelPair, ShadowVerdict, VerdictReason

WORDS = {
    VerdictReason.RULE: "of a kind that a rule keeps",
    VerdictReason.SCORE: "the models are unsure or disagree",
    VerdictReason.AUDIT: "drawn by lot, to check the screening itself",
    VerdictReason.BELOW_THRESHOLD: "nothing new to learn",
    VerdictReason.BLURRED: "blurred",
    VerdictReason.BADLY_EXPOSED: "too dark or too bright",
    VerdictReason.NEAR_DUPLICATE: "nearly the same as a frame kept before",
    VerdictReason.NO_TARGET: "nothing there, and like what the audit found empty",
    VerdictReason.OBJECT_MISSING: "the picture is gone",
    VerdictReason.OBJECT_CHANGED: "the picture was changed",
    VerdictReason.REFUSED_BY_MODEL: "the model server cannot read it",
    VerdictReason.NOT_A_PICTURE: "not a picture",
}
PARTS = {
    "uncertainty": "unsure",
    "low_top_score": "nothing found",
    "disagreement": "models disagree",
    "objects": "many objects",
    "crowd": "many unsettled boxes",
    "overlap": "things that hide each other",
    "inconsistency": "does not fit the pictures around it",
    "unusual": "unlike what is usual",
    "novelty": "unlike what was kept",
}
BY_SCORE = {VerdictReason.SCORE, VerdictReason.BELOW_THRESHOLD}


def put_reasons_in_words(verdict: FrameScreened) -> str:
    """Say why a frame has its verdict."""
    reasons = ", ".join(WORDS[reason] for reason in verdict.reasons)
    if VerdictReason.SCORE not in verdict.reasons or verdict.score is None:
        return reasons
    best = max(verdict.score_parts.items(), key=lambda part: part[1], default=("", 0.0))
    return (
        f"{reasons}: score {verdict.score:.2f} over {verdict.threshold:.2f}, most of it {PARTS.get(best[0], best[0])}"
    )


def explain(verdict: FrameScreened) -> str:
    """Say what was decided on a frame, why, by which models, under which policy, and where its slice's budget stood."""
    first_sentence = f"{verdict.verdict.value.capitalize()}: {', '.join(WORDS[reason] for reason in verdict.reasons)}"
    if verdict.rules:
        first_sentence += f" ({', '.join(verdict.rules)})"
    if verdict.detail:
        first_sentence += f" ({verdict.detail})"
    sentences = [first_sentence, *_tell_score(verdict), _tell_judges(verdict), *_tell_shadow(verdict.shadow)]
    if verdict.replayed:
        sentences.append("Its unit had been a dead letter and was replayed")
    return ". ".join(sentences) + "."


def _tell_score(verdict: FrameScreened) -> list[str]:
    if verdict.score is None:
        return []
    parts = ", ".join(f"{PARTS.get(name, name)} {value:.2f}" for name, value in sorted(verdict.score_parts.items()))
    counted = "" if BY_SCORE & set(verdict.reasons) else ", which did not matter"
    threshold = f"the threshold of {verdict.slice} was {verdict.threshold:.3f}"
    return [f"Score {verdict.score:.3f} ({parts}){counted}; {threshold}{_tell_budget(verdict.budget)}"]


def _tell_budget(state: BudgetState | None) -> str:
    if state is None:
        return ", given by the policy"
    owed = f"{abs(state.debt):.0f} frames {'too few' if state.debt > 0 else 'too many'}"
    source = (
        f"aiming at {state.share:.1%} of its last {state.scores} scores" if state.scores else "too young for its own"
    )
    return f", {source}, for a budget of {state.budget:.0%} of its frames, {owed} kept so far"


def _tell_shadow(shadow: ShadowVerdict | None) -> list[str]:
    """Say what a version that is tried on live frames made of it."""
    if shadow is None:
        return []
    name = f"Version {shadow.version}, which is on its way,"
    if shadow.failure:
        return [f"{name} gave no answer: {shadow.failure}"]
    return [f"{name} would have {'kept' if shadow.kept else 'dropped'} it (score {shadow.score or 0:.3f})"]


def _tell_judges(verdict: FrameScreened) -> str:
    under = f"under policy version {verdict.policy_version}"
    return f"Judged by {_name_models(verdict.models)} {under}" if verdict.models else f"No model judged it, {under}"


def _name_models(pair: ModelPair) -> str:
    first = f"{pair.name} version {pair.version}"
    return first if pair.second_name is None else f"{first} and {pair.second_name} version {pair.second_version}"
