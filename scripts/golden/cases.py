"""All stories in the order in which they are told: later ones use what earlier ones made.

What every broker serves comes first, so that a story which a broker is spared changes nothing for the others.
"""

from golden import (
    cases_admin,
    cases_cluster,
    cases_corners,
    cases_groups,
    cases_placement,
    cases_quotas,
    cases_records,
    cases_refusals,
    cases_transactions,
)

STORIES = (
    *cases_records.STORIES,
    *cases_refusals.STORIES,
    *cases_groups.CLASSIC,
    *cases_cluster.CONFIGS,
    *cases_corners.STORIES,
    *cases_cluster.TRANSACTIONS,
    *cases_groups.NEWER,
    *cases_cluster.OTHERS,
    *cases_placement.STORIES,
    *cases_transactions.STORIES,
    *cases_quotas.STORIES,
    *cases_admin.STORIES,
)
