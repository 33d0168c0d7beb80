import pytest

from pykbroker.cluster.features import FINALIZED_AT_FOUNDING, FeatureUpdate, UpgradeType, updated
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

UP, SAFE, UNSAFE = UpgradeType.UPGRADE, UpgradeType.SAFE_DOWNGRADE, UpgradeType.UNSAFE_DOWNGRADE


def test_level_of_zero_takes_the_feature_away_and_it_can_come_back() -> None:
    lower = updated(FINALIZED_AT_FOUNDING, [FeatureUpdate("share.version", 0, SAFE)])
    assert "share.version" not in lower
    assert updated(lower, [FeatureUpdate("share.version", 2, UP)]) == FINALIZED_AT_FOUNDING


@pytest.mark.parametrize(
    ("feature", "level", "upgrade_type", "words"),
    [
        ("absent.version", 1, UP, "not supported"),
        ("group.version", 2, UP, "0 to 1"),
        ("group.version", -1, SAFE, "less than 0"),
        ("group.version", 0, UP, "lower than 1"),
        ("group.version", 1, 0, "no type"),
        ("group.version", 1, 4, "no type"),
        ("metadata.version", 20, SAFE, "never lowered"),
        ("metadata.version", 20, UNSAFE, "never lowered"),
        ("metadata.version", 0, UNSAFE, "7 to 33"),
        ("kraft.version", 0, SAFE, "never lowered"),
    ],
)
def test_update_that_cannot_be_is_refused(feature: str, level: int, upgrade_type: int, words: str) -> None:
    good = FeatureUpdate("group.version", 1, UP)
    with pytest.raises(KafkaError) as caught:
        updated(FINALIZED_AT_FOUNDING, [good, FeatureUpdate(feature, level, upgrade_type)])
    assert caught.value.code is ErrorCode.INVALID_UPDATE_VERSION
    assert words in str(caught.value.message)


def test_higher_level_with_a_type_that_says_lower_is_refused() -> None:
    lower = updated(FINALIZED_AT_FOUNDING, [FeatureUpdate("transaction.version", 1, SAFE)])
    with pytest.raises(KafkaError, match="says lower"):
        updated(lower, [FeatureUpdate("transaction.version", 2, SAFE)])
