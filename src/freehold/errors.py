"""Everything that Freehold raises, in one tree, split by who must act.

FreeholdError
├── CallerError                 the code or the request that called us is wrong: change it
│   ├── PublishError            an event that may not be published (too large, wrong version, not declared)
│   ├── ContractError           an event or a contract file breaks what was promised to readers
│   └── DeclarationError        a Service, System or Gateway that cannot be run as declared
├── PeerError                   something that we talk to does not answer or lost its place: wait, it is retried
│   ├── StoreUnavailable        the service's own database
│   │   └── CommitUnknown       the connection was lost while committing: read before trying again
│   ├── TopicUnavailable        Kafka
│   ├── ConflictError           a transaction met another one too often
│   ├── FencedError             another instance took over this work
│   └── HeldError               the copies of a source are being replaced, and nobody applies its events meanwhile
└── OperatorError               somebody must look: nothing is skipped, nothing goes on by itself
    ├── ConfigurationError      a setting is missing or wrong
    ├── MissingPartError        a server, library or package that cannot be had
    ├── StartError              a process that did not become ready
    ├── MigrationError          a migration that failed or was changed after it ran
    ├── IdentityError           a topic made anew, truncated or expired under a stored position
    ├── RebuildError            copies that cannot be rebuilt, or a rebuilt one that may not take over
    ├── EpochError              a new epoch that would be none, or of which nothing could be told
    ├── ScenarioError           what `freehold verify` drives did not come to its end
    ├── DrillError              what a drill waits for did not come, so that nothing can be said of it
    └── EventRejected           a record that is no event of ours, of unknown type or version, or that its handler refuses
"""


class FreeholdError(Exception):
    """The root: catch it to catch everything that Freehold raises on purpose."""


class CallerError(FreeholdError):
    """The code or the request that called is wrong; calling again changes nothing."""


class PublishError(CallerError):
    """The event may not be published; the transaction is rolled back."""


class ContractError(CallerError):
    """An event class and the contract that its readers rely on do not fit."""


class DeclarationError(CallerError):
    """A service, system or gateway cannot be run as it was declared."""


class PeerError(FreeholdError):
    """A server that we talk to failed us; the work is tried again, within its bound."""


class StoreUnavailable(PeerError):
    """The service's own database does not answer."""


class CommitUnknown(StoreUnavailable):
    """The connection was lost while committing: the transaction may or may not have taken effect."""


class TopicUnavailable(PeerError):
    """Kafka does not answer, or refused what may be asked again."""


class ConflictError(PeerError):
    """A transaction was run again up to its bound and still met others; nothing was written."""


class FencedError(PeerError):
    """Another instance has taken over this work; what was not committed is dropped."""


class HeldError(PeerError):
    """The copies of a source are being replaced; its events are applied again in a moment."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"the copies of {source} are being replaced by rebuilt ones; its events are applied in a moment"
        )


class OperatorError(FreeholdError):
    """Somebody must act; until then the work stands still and nothing is skipped."""


class ConfigurationError(OperatorError):
    """A setting is missing or wrong; the message names it and what it takes."""


class MissingPartError(OperatorError):
    """A server binary, library or package cannot be had on this machine."""


class StartError(OperatorError):
    """A process did not become ready within its limit; the message names its log."""


class MigrationError(OperatorError):
    """A migration failed, or a migration that already ran was changed."""


class IdentityError(OperatorError):
    """What a stored position points into is not the same log any more."""


class EventRejected(OperatorError):
    """A record on a topic cannot be applied; its partition stands still behind it."""


class DrillError(OperatorError):
    """A system under a drill did not come to where it could be looked at; the message says what was missing."""


class RebuildError(OperatorError):
    """Copies cannot be rebuilt as they are, or what was built may not take over; the message says why and what to do."""


class EpochError(OperatorError):
    """No new epoch can begin: the store is not behind its topic, or nothing of it could be told again."""


class ScenarioError(OperatorError):
    """A scenario that `freehold verify` drives did not come to its end; the message says at what."""
