"""Every detector of behaviour. To add one, add its module and its line here."""

from __future__ import annotations

from securenet_detection.behaviours.beacon import Beacon
from securenet_detection.behaviours.brute_force import BruteForce
from securenet_detection.behaviours.cryptomining import Cryptomining
from securenet_detection.behaviours.dga import Dga
from securenet_detection.behaviours.distributed_scan import DistributedScan
from securenet_detection.behaviours.dns_tunnel import DnsTunnel
from securenet_detection.behaviours.exfiltration import Exfiltration
from securenet_detection.behaviours.flood import Flood
from securenet_detection.behaviours.horizontal_scan import HorizontalScan
from securenet_detection.behaviours.icmp_tunnel import IcmpTunnel
from securenet_detection.behaviours.interface import Behaviour
from securenet_detection.behaviours.lateral_movement import LateralMovement
from securenet_detection.behaviours.long_connection import LongConnection
from securenet_detection.behaviours.odd_port import OddPort
from securenet_detection.behaviours.outside import Outside
from securenet_detection.behaviours.password_spray import PasswordSpray
from securenet_detection.behaviours.sequential_scan import SequentialScan
from securenet_detection.behaviours.strobe import Strobe
from securenet_detection.behaviours.unanswered_calls import UnansweredCalls
from securenet_detection.behaviours.vertical_scan import VerticalScan
from securenet_detection.detector_settings import DetectorSettings
from securenet_detection.intel.threat_intel import ThreatIntel


def behaviours(settings: DetectorSettings) -> tuple[Behaviour, ...]:
    """One of each, with empty tables, for one tenant; by name."""
    outside = Outside(settings.prevalence, settings.state)
    seldom = settings.state.seldom
    return (
        Beacon(settings.beacon, settings.state, outside),
        BruteForce(settings.brute_force, settings.state),
        Cryptomining(settings.cryptomining, seldom),
        Dga(settings.dga, seldom),
        DistributedScan(settings.distributed_scan, seldom),
        DnsTunnel(settings.dns_tunnel, settings.state),
        Exfiltration(settings.exfiltration, settings.state),
        Flood(settings.flood, seldom),
        HorizontalScan(settings.horizontal_scan, settings.state),
        IcmpTunnel(settings.icmp_tunnel, seldom),
        LateralMovement(settings.lateral_movement, settings.state),
        LongConnection(settings.long_connection, settings.state, outside),
        OddPort(settings.odd_port, seldom),
        PasswordSpray(settings.password_spray, settings.brute_force, settings.state),
        SequentialScan(settings.sequential_scan, settings.state),
        Strobe(settings.strobe, settings.state),
        ThreatIntel(settings.threat_intel, seldom),
        UnansweredCalls(settings.unanswered_calls, settings.state),
        VerticalScan(settings.vertical_scan, settings.state),
    )
