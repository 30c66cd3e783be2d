"""Flow tables of other tools: Argus, nfdump, CICFlowMeter, UNSW-NB15, Zeek's logs in CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from securenet_flows import FlowBatch, UnreadableFileError, open_capture
from securenet_flows.batch import CONN_STATES
from securenet_flows.report import ReadReport

pytestmark = pytest.mark.unit


def read(tmp_path: Path, content: str) -> tuple[FlowBatch, ReadReport]:
    path = tmp_path / "table.csv"
    path.write_text(content)
    capture = open_capture(path)
    return FlowBatch.concatenate(list(capture)), capture.report


def states(batch: FlowBatch) -> list[str]:
    return [CONN_STATES[int(number)] for number in batch.number("conn_state")]


ARGUS = """StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label
2018/12/18 14:00:00.075359,0.5,tcp,198.51.100.6,52691,   ->,192.0.2.57,445,S_RA,0,0,3,194,134,2,flow=From-Botnet-V42-TCP
2018/12/18 14:00:01.000000,0.0,udp,192.0.2.1,53,  <->,192.0.2.57,53,CON,0,0,2,142,63,1,flow=From-Normal-V42-UDP
2018/12/18 14:00:02.000000,0.0,icmp,192.0.2.1,0x0303,   ->,192.0.2.57,0x0fa1,URP,0,,1,70,70,1,flow=Background-x
2018/12/18 14:00:03.000000,9.0,tcp,2001:db8::1,1,   ->,2001:db8::2,2,FSPA_FSPA,0,0,20,2000,1000,10,
1970/01/01 01:00:00.000000,0.0,llc,00:00:00:00:00:00,0,   ->,00:00:00:00:00:00,0,INT,,,1,60,60,1,flow=Background
"""


@pytest.mark.parametrize("separator", [",", "\t"])
def test_argus(tmp_path: Path, separator: str) -> None:
    batch, report = read(tmp_path, ARGUS.replace(",", separator))
    assert batch.start_time_ns[0] == 1_545_141_600_075_359_000
    assert batch.number("duration_ns").tolist() == [500_000_000, 0, 0, 9_000_000_000]
    assert batch.protocol.tolist() == [6, 17, 1, 6]
    assert batch.number("src_port").tolist() == [52691, 53, 0x0303, 1]
    assert batch.number("resp_pkts").tolist() == [1, 1, 0, 10]
    assert batch.number("resp_ip_bytes").tolist() == [60, 79, 0, 1000]
    assert states(batch) == ["REJ", "SF", "", "SF"]
    assert batch.texts("label").decode() == ["malicious", "benign", "unknown", None]
    assert batch.texts("flow_id").decode() == ["line-2", "line-3", "line-4", "line-5"]
    assert [(error.line, error.reason) for error in report.errors] == [
        (6, "SrcAddr: '00:00:00:00:00:00'; expected an IP address")
    ]
    assert [error.line for error in report.label_errors] == [5]


def test_argus_without_packets_of_the_source(tmp_path: Path) -> None:
    batch, _ = read(
        tmp_path,
        "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,TotPkts,TotBytes,SrcBytes\n"
        "2018/09/27 22:40:52.362768,1.0,tcp,192.0.2.1,52893,  <?>,192.0.2.12,22,CON,35,3766,1224\n",
    )
    assert "orig_pkts" not in batch.numeric
    assert batch.number("resp_ip_bytes").tolist() == [3766 - 1224]
    assert "label" not in batch.text


def test_nfdump_and_its_summary(tmp_path: Path) -> None:
    batch, report = read(
        tmp_path,
        "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n"
        "2020-05-01 10:00:00,2020-05-01 10:00:02,2.500,192.0.2.1,192.0.2.2,40000,80,TCP,......S.,0,0,3,180,0,0\n"
        "2020-05-01 10:00:01,2020-05-01 10:00:02,0.000,192.0.2.1,192.0.2.2,40001,53,UDP,........,0,0,1,70,0,0\n"
        "Summary\n"
        "flows,bytes,packets\n"
        "2,250,4\n",
    )
    assert report.bad_records == 0
    assert batch.number("orig_ip_bytes").tolist() == [180, 70]
    assert batch.number("duration_ns").tolist() == [2_500_000_000, 0]
    assert states(batch) == ["S0", ""]
    assert batch.start_time_ns[0] == 1_588_327_200_000_000_000


CIC = """id,Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Total Fwd Packet,\
Total Bwd packets,Total Length of Fwd Packet,Total Length of Bwd Packet,Label
1,a-b-1-2-6,192.0.2.1,35473,192.0.2.2,80,6,2017-07-05 19:55:50.312099,15885639,9,8,2827,2334,BENIGN
2,a-b-1-2-6,192.0.2.1,35473,192.0.2.2,80,6,2017-07-05 19:55:51.000001,5,9,8,2827,2334,DoS Hulk
3,a-b-1-2-6,192.0.2.1,35473,192.0.2.2,80,6,2017-07-05 19:55:52,5,9,8,2827,2334,DoS Hulk - Attempted
4,a-b-1-2-6,192.0.2.1,35473,192.0.2.2,80,6,2017-07-05 19:55:53,-5,9,8,2827,2334,BENIGN
"""


def test_cicflowmeter(tmp_path: Path) -> None:
    batch, report = read(tmp_path, CIC)
    assert batch.texts("flow_id").decode() == ["a-b-1-2-6"] * 3
    assert batch.number("duration_ns").tolist() == [15_885_639_000, 5_000, 5_000]
    assert batch.number("orig_bytes").tolist() == [2827] * 3
    assert batch.texts("label").decode() == ["benign", "malicious", "unknown"]
    assert batch.texts("detailed_label").decode() == ["BENIGN", "DoS Hulk", "DoS Hulk - Attempted"]
    assert batch.start_time_ns[0] == 1_499_284_550_312_099_000
    assert [error.line for error in report.errors] == [5]
    assert "Flow Duration: " in str(report.errors[0])


RESETS = """Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Total Fwd Packet,\
Total Bwd packets,Fwd RST Flags,Bwd RST Flags,FIN Flag Count,SYN Flag Count
"""


@pytest.mark.parametrize(
    ("protocol", "counts", "state"),
    [
        (6, "1,0,0,0,0,1", "S0"),
        (6, "2,0,1,0,0,1", "RSTOS0"),
        (6, "2,0,0,0,1,1", "SH"),
        (6, "1,1,0,1,0,1", "REJ"),
        (6, "3,3,0,3,0,3", "REJ"),
        (6, "9,8,0,0,2,2", "SF"),
        (6, "9,8,1,0,1,2", "RSTO"),
        (6, "9,8,0,1,0,2", "RSTR"),
        (6, "9,8,0,0,1,2", "S1"),
        (6, "9,8,0,0,0,0", "OTH"),
        (6, "9,8,0,0,0,NaN", ""),
        (17, "2,2,0,0,0,0", "SF"),
        (17, "2,0,0,0,0,0", "S0"),
        (1, "2,2,0,0,0,0", "OTH"),
    ],
)
def test_cicflowmeter_that_counts_resets_by_direction(tmp_path: Path, protocol: int, counts: str, state: str) -> None:
    row = f"a,192.0.2.1,35473,192.0.2.2,80,{protocol},2017-07-05 19:55:50.312099,15,{counts}\n"
    batch, report = read(tmp_path, RESETS + row)
    assert report.bad_records == 0, report.errors
    assert states(batch) == [state]


KDD_REST = "," + ",".join(["0"] * 35)
KDD = (
    f"2,tcp,ftp_data,SF,491,0{KDD_REST},normal,20\n"
    f"0,udp,private,SF,146,7{KDD_REST},snmpguess,15\n"
    f"0,icmp,eco_i,SF,8,0{KDD_REST},ipsweep,15\n"
    f"0,tcp,telnet,RSTOSO,0,0{KDD_REST},neptune,15\n"
    f"0,tcp,http,SF,minus,0{KDD_REST},normal,15\n"
)


def test_nsl_kdd(tmp_path: Path) -> None:
    batch, report = read(tmp_path, KDD)
    assert [error.line for error in report.errors] == [5]
    assert batch.number("duration_ns").tolist() == [2_000_000_000, 0, 0, 0]
    assert batch.number("orig_bytes").tolist() == [491, 146, 8, 0]
    assert batch.protocol.tolist() == [6, 17, 1, 6]
    assert batch.number("dst_port").tolist() == [20, 0, 0, 23]
    assert batch.has("dst_port").tolist() == [True, False, False, True]
    assert states(batch) == ["SF", "SF", "SF", "RSTOS0"]
    assert batch.texts("label").decode() == ["benign", "malicious", "malicious", "malicious"]
    assert batch.texts("detailed_label").decode()[1:] == ["snmpguess", "ipsweep", "neptune"]
    assert "no addresses and no times" in report.notes[0]


def test_no_two_records_of_nsl_kdd_share_a_host(tmp_path: Path) -> None:
    batch, _ = read(tmp_path, KDD)
    hosts = np.concatenate([batch.src_addr, batch.dst_addr])
    assert len(np.unique(hosts, axis=0)) == 8


def test_nsl_kdd_with_a_header_and_without_labels(tmp_path: Path) -> None:
    header = "duration,protocol_type,service,flag,src_bytes,dst_bytes\n"
    batch, report = read(tmp_path, header + "1,udp,domain_u,SF,44,133\n")
    assert (report.bad_records, batch.number("dst_port").tolist()) == (0, [53])
    assert "label" not in batch.text


def test_cicflowmeter_of_old(tmp_path: Path) -> None:
    header = (
        "Flow ID, Source IP, Source Port, Destination IP, Destination Port, Protocol, Timestamp, Flow Duration,"
        " Total Fwd Packets, Label\n"
    )
    batch, report = read(
        tmp_path,
        header
        + "x,192.0.2.1,1,192.0.2.2,2,17,5/7/2017 8:42,3,1,Web Attack\n"
        + header
        + "y,192.0.2.1,1,192.0.2.2,2,17,05/07/2017 08:42:42 PM,3,1,BENIGN\n",
    )
    assert report.bad_records == 0
    assert batch.start_time_ns.tolist() == [1_499_244_120_000_000_000, 1_499_287_362_000_000_000]
    assert batch.texts("label").decode() == ["malicious", "benign"]


UNSW_ROW = (
    "192.0.2.1,0x000b,192.0.2.2,-,unas,INT,0.5,132,164,31,29,0,0,-,1,1,2,3,"
    + "0," * 10
    + "1421927414,1421927415,"
    + "0," * 17
)


def test_unsw_without_header(tmp_path: Path) -> None:
    batch, report = read(tmp_path, UNSW_ROW + " Exploits ,1\n" + UNSW_ROW + ",0\n")
    assert report.bad_records == 0, report.errors
    assert batch.number("src_port").tolist() == [11, 11]
    assert batch.has("dst_port").tolist() == [False, False]
    assert batch.protocol.tolist() == [255, 255]
    assert batch.number("orig_ip_bytes").tolist() == [132, 132]
    assert "orig_bytes" not in batch.numeric
    assert batch.start_time_ns[0] == 1_421_927_414_000_000_000
    assert batch.texts("label").decode() == ["malicious", "benign"]
    assert batch.texts("detailed_label").decode() == ["Exploits", None]
    assert batch.texts("flow_id").decode() == ["line-1", "line-2"]


def test_zeek_in_csv_whose_lines_lack_the_last_field(tmp_path: Path) -> None:
    batch, report = read(
        tmp_path,
        '"ts","uid","id_orig_h","id_orig_p","id_resp_h","id_resp_p","proto","conn_state","history","tunnel_parents"\n'
        '"1591890635.322299","C8","192.0.2.1","51400","192.0.2.4","80","tcp","RSTO","Sh,AR"\n'
        '"1591890635.322300","C9","192.0.2.1","51400","192.0.2.4","80","tcp","-","unbalanced\n',
    )
    assert batch.texts("history").decode() == ["Sh,AR"]
    assert batch.start_time_ns.tolist() == [1_591_890_635_322_299_000]
    assert [error.line for error in report.errors] == [3]
    assert "lack the last of the fields" in report.notes[0]


def test_a_header_without_a_needed_field_is_located(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"table.csv:1: no field Proto in the header"):
        read(tmp_path, "StartTime,SrcAddr,DstAddr\n2018/12/18 14:00:00.0,192.0.2.1,192.0.2.2\n")
