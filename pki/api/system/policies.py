"""Policies: `sys/policies/acl`, and `sys/policy`, the older spelling of the same."""

import msgspec

from pki.api.system.family import Family
from pki.errors import Malformed, NotFound
from pki.operations.call import Call, Reply, keys
from pki.operations.declare import NoBody, Verb, operation
from pki.storage.database import Tx


class PolicyBody(msgspec.Struct, frozen=True):
    """A policy's text, HCL or JSON: `policy`, or `rules` as it was once called. `cas` is the version it replaces."""

    policy: str = ""
    rules: str = ""
    cas: int | None = None


class PolicyDocuments(Family):
    """Keeps the policies."""

    def _policy_exists(self, call: Call, body: PolicyBody, name: str) -> bool:  # noqa: ARG002
        try:
            self._rooms.policies.get(name)
        except NotFound:
            return False
        return True

    @operation(Verb.LIST, "policies/acl")
    def list_policies(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """List the names of the policies."""
        return keys(self._rooms.policies.names())

    @operation(Verb.READ, "policies/acl/<name:name>")
    def read_policy(self, call: Call, body: NoBody, name: str) -> Reply:  # noqa: ARG002
        """Read a policy."""
        stored = self._rooms.policies.get(name)
        return Reply({"name": stored.name, "policy": stored.text, "version": stored.version})

    @operation(Verb.UPDATE, "policies/acl/<name:name>", PolicyBody, exists=_policy_exists)
    @operation(Verb.UPDATE, "policy/<name:name>", PolicyBody, exists=_policy_exists)
    def write_policy(self, call: Call, body: PolicyBody, name: str) -> None:
        """Store a policy; it holds from the next request on, in every process."""
        text = body.policy or body.rules
        if not text:
            raise Malformed("'policy' parameter not supplied or empty", advice="send the policy's text as `policy`")

        def work(tx: Tx) -> None:
            self._rooms.policies.set(tx, name, text, cas=body.cas)
            call.record(tx, policy=name)

        self._rooms.database.write(work)

    @operation(Verb.DELETE, "policies/acl/<name:name>")
    @operation(Verb.DELETE, "policy/<name:name>")
    def delete_policy(self, call: Call, body: NoBody, name: str) -> None:  # noqa: ARG002
        """Delete a policy; tokens that name it keep the name, which then gives nothing."""

        def work(tx: Tx) -> None:
            self._rooms.policies.delete(tx, name)
            call.record(tx, policy=name)

        self._rooms.database.write(work)

    @operation(Verb.READ, "policy")
    @operation(Verb.LIST, "policy")
    def list_policies_twice(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the names of the policies, under both names that clients look for."""
        names = list(self._rooms.policies.names())
        return Reply({"keys": names, "policies": names}, also_flat=True)

    @operation(Verb.READ, "policy/<name:name>")
    def read_rules(self, call: Call, body: NoBody, name: str) -> Reply:  # noqa: ARG002
        """Read a policy, its text called rules."""
        stored = self._rooms.policies.get(name)
        return Reply({"name": stored.name, "rules": stored.text, "version": stored.version}, also_flat=True)
