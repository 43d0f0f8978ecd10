"""What each process of the service runs: the TLS listener, the plain HTTP listener, and the duties."""

import os
import resource
import signal
import socket
from http import HTTPStatus
from types import FrameType
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LOGGING_CONFIG, LogLevels
from granian.server.mp import MPServer

from acme_server.application import create_application, refusal
from acme_server.duties import acme_duties
from cli.offline.processes import Announcer, begin_child
from cli.offline.watchdog import end_when_stuck
from pki.api import gateway
from pki.api.front import Environ, Front, WsgiApplication, plain_refusal
from pki.api.publication import create_publication
from pki.config import Config, Endpoint
from pki.core import Core, open_core, open_database, server_pem
from pki.errors import Misconfigured
from pki.jobs import Runner, house_duties

_HEADER_MILLISECONDS = 10_000
_HEADERS_OCTETS = 64 * 1024
_CONNECTIONS = 16_384
"""Connections of one process. The library counts those that never say a word, and knows no deadline for them before
the TLS handshake: with its default of 1,024, as many silent ones would shut everybody out."""
_CALL_TIMEOUTS = 6
"""How often [hsm] timeout a call of the HSM may take; by default 30 s: more than a device needs to make an RSA key."""
_HANDLERS: Any = LOGGING_CONFIG["handlers"]
_LOG = {"handlers": {name: {**handler, "stream": "ext://sys.stderr"} for name, handler in _HANDLERS.items()}}


def address_of(endpoint: Endpoint) -> str:
    """Return the address to bind, which the server library does not look up by itself.

    Raises:
        Misconfigured: the host's name has no address.
    """
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        advice = "give an address of this machine"
        raise Misconfigured(f"the name {endpoint.host!a} has no address", advice=advice) from None
    return str(found[0][4][0])


def check_port_free(endpoint: Endpoint, key: str) -> None:
    """Refuse early, in one line, an address that cannot be bound.

    The listeners share their port (SO_REUSEPORT), so that a second service would otherwise start in silence.

    Raises:
        Misconfigured: the address is in use, not of this machine, or needs more rights.
    """
    address = address_of(endpoint)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, endpoint.port))
            probe.listen(1)
        except OSError as error:
            advice = f"stop what listens there, or choose another address with {key}"
            raise Misconfigured(f"cannot listen on {endpoint}: {error.strerror}", advice=advice) from None


def _allow_connections() -> None:
    """Let this process have as many connections open as it takes, if the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * _CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _server(endpoint: Endpoint, **settings: Any) -> MPServer:
    """Return a server with one worker: the supervisor itself keeps several, and replaces each by itself."""
    _allow_connections()
    return MPServer(
        "sealward",
        address=address_of(endpoint),
        port=endpoint.port,
        interface=Interfaces.RSGI,
        workers=1,
        websockets=False,
        backpressure=_CONNECTIONS,
        log_level=LogLevels.warning,
        log_dictconfig=_LOG,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MILLISECONDS, max_buffer_size=_HEADERS_OCTETS),
        http2_settings=HTTP2Settings(max_headers_size=_HEADERS_OCTETS),
        **settings,
    )


def _doors(core: Core) -> WsgiApplication:
    """Return both doors of the TLS listener as one application: one path has one entry."""
    api, acme = gateway.create_gateway(core), create_application(core)

    def answer(environ: Environ, start_response: Any) -> Any:
        return (api if gateway.serves(environ["PATH_INFO"]) else acme)(environ, start_response)

    return answer


def _refusal(path: str, status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    return (gateway.v1_refusal if gateway.serves(path) else refusal)(path, status, detail)


def run_https(config: Config, announcer: Announcer) -> None:
    """Serve the HTTP API and ACME over TLS."""
    parent = os.getpid()

    def load(_target: str) -> Any:
        begin_child(parent)
        end_when_stuck(_CALL_TIMEOUTS * config.hsm.timeout)
        with announcer.ending_on_failure():
            core = open_core(config)
            front = Front(
                _doors(core),
                _refusal,
                threads=config.server.threads,
                max_body=config.server.max_body,
                body_timeout=config.server.body_timeout,
            )
        announcer.ready()
        return front

    pem = server_pem(config)
    protocol = SSLProtocols.tls12 if config.server.tls_1_2 else SSLProtocols.tls13
    _server(config.server.listen, ssl_cert=pem, ssl_key=pem, ssl_protocol_min=protocol).serve(target_loader=load)


def run_http(config: Config, announcer: Announcer) -> None:
    """Serve CRLs and CA certificates over plain HTTP, and nothing else (RFC 5280 8: they are signed)."""
    parent = os.getpid()

    def load(_target: str) -> Any:
        begin_child(parent)
        with announcer.ending_on_failure():
            application = create_publication(open_database(config))
            timeout = config.server.body_timeout
            front = Front(application, plain_refusal, threads=4, max_body=4096, body_timeout=timeout)
        announcer.ready()
        return front

    # While the library waits to learn the version, no deadline runs; with one version only, that for headers does.
    _server(config.http.listen, http=HTTPModes.http1).serve(target_loader=load)


def run_duties(config: Config, announcer: Announcer) -> None:
    """Run the periodic duties until told to stop."""
    end_when_stuck(_CALL_TIMEOUTS * config.hsm.timeout)
    core = open_core(config)
    runner = Runner(core, [*house_duties(core), *acme_duties(core)])

    def stop(_number: int, _frame: FrameType | None) -> None:
        runner.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    announcer.ready()
    runner.run()
