"""What Kafka is told: the broker's settings and those of its log."""

from freehold.runtime.embedded.ports import LOOPBACK

ADMIN = "admin"
CONTROLLER = "controller"

SETTINGS = """\
# Written by Freehold at every start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENT://{host}:{port}
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs={data}

# Both listeners ask for a password: whoever reaches an open controller can do everything.
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.client.scram-sha-256.sasl.jaas.config={scram} required \
username="{admin}" password="{password}";
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} required \
username="{controller}" password="{controller_password}" user_{controller}="{controller_password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{admin};User:{controller}

# A topic is made by its owner, on purpose.
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1

# One node holds one copy of everything, and a few partitions of its own bookkeeping are enough.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# After a kill the controller refuses the new broker for as long as the killed one's session could last: by default 9 s.
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=250

# A member that was killed frees its partitions within seconds, and the first ones need not wait for company.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
group.consumer.min.session.timeout.ms=2000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1500

num.network.threads=2
num.io.threads=4
background.threads=4
log.cleaner.dedupe.buffer.size=33554432
# What compaction may drop is gone within seconds, and from the disk right after; by default half a minute and a minute.
log.cleaner.backoff.ms=5000
log.segment.delete.delay.ms=1000
"""

# To the standard error, which is the log file. On the command line, because a folder on the class path would
# keep Java from using its archive of classes.
LOGGING = [
    f"-Dorg.slf4j.simpleLogger.{setting}"
    for setting in [
        "showDateTime=true",
        "dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        # Each start would list several hundred settings three times.
        "log.org.apache.kafka.common.config=warn",
        "log.org.apache.kafka.common.utils.AppInfoParser=warn",
    ]
]


def format_settings(data: str, ports: tuple[int, int], passwords: tuple[str, str]) -> str:
    """Write the broker's settings.

    Args:
        data: The folder for its logs, relative to its working directory: nothing to escape, whatever that is called.
        ports: The port for clients and the port of the controller.
        passwords: The administrator's and the controller's; url-safe, so that nothing needs to be escaped.
    """
    return SETTINGS.format(
        host=LOOPBACK,
        data=data,
        port=ports[0],
        controller_port=ports[1],
        admin=ADMIN,
        controller=CONTROLLER,
        password=passwords[0],
        controller_password=passwords[1],
        scram="org.apache.kafka.common.security.scram.ScramLoginModule",
        plain="org.apache.kafka.common.security.plain.PlainLoginModule",
    )
