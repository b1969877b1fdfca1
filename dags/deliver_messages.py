"""### Send what waits

Every five minutes: whatever the outbox still holds, because a mail server or Slack was away, goes out in its order.
"""

from sagwatch.orchestration.upkeep import deliver_messages

# Registers the Airflow DAG.
deliver_messages(doc_md=__doc__)
