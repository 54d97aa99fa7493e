"""Names on the wire: namespaces, and elements in Clark notation (`{namespace}local`), which is what lxml compares."""

from typing import Final

from lxml.etree import _Element

NAMESPACES: Final = {
    "oadr": "http://openadr.org/oadr-2.0b/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
    "emix": "http://docs.oasis-open.org/ns/emix/2011/06",
    "power": "http://docs.oasis-open.org/ns/emix/2011/06/power",
    "scale": "http://docs.oasis-open.org/ns/emix/2011/06/siscale",
    "strm": "urn:ietf:params:xml:ns:icalendar-2.0:stream",
    "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
    "gml": "http://www.opengis.net/gml/3.2",
}
"""Prefix to namespace, as `encode` writes them. A received message may use any prefixes."""


def clark(qualified: str) -> str:
    """Return `ei:venID` in Clark notation."""
    prefix, _, local = qualified.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def tag_of(element: _Element) -> str:
    """Return an element's Clark name."""
    return str(element.tag)


def name_of(element: _Element) -> str:
    """Return an element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def shown(element: _Element) -> str:
    """Return an element's name for a person, shortened, and its namespace if it has one."""
    namespace, closed, name = str(element.tag).rpartition("}")
    return f"{name[:40]} of namespace '{namespace[1:81]}'" if closed else f"{name[:40]} without a namespace"


SCHEMA_VERSION: Final = clark("ei:schemaVersion")

PAYLOAD: Final = clark("oadr:oadrPayload")
SIGNED_OBJECT: Final = clark("oadr:oadrSignedObject")

# Responses and ids
EI_RESPONSE: Final = clark("ei:eiResponse")
RESPONSE_CODE: Final = clark("ei:responseCode")
RESPONSE_DESCRIPTION: Final = clark("ei:responseDescription")
REQUEST_ID: Final = clark("pyld:requestID")
VEN_ID: Final = clark("ei:venID")
VTN_ID: Final = clark("ei:vtnID")
EVENT_ID: Final = clark("ei:eventID")
MODIFICATION_NUMBER: Final = clark("ei:modificationNumber")
QUALIFIED_EVENT_ID: Final = clark("ei:qualifiedEventID")
OPT_ID: Final = clark("ei:optID")
OPT_TYPE: Final = clark("ei:optType")
OPT_REASON: Final = clark("ei:optReason")
REGISTRATION_ID: Final = clark("ei:registrationID")
RESOURCE_ID: Final = clark("ei:resourceID")
GROUP_ID: Final = clark("ei:groupID")
GROUP_NAME: Final = clark("ei:groupName")
PARTY_ID: Final = clark("ei:partyID")
MARKET_CONTEXT: Final = clark("emix:marketContext")
CREATED_DATE_TIME: Final = clark("ei:createdDateTime")

# Targets and units
TARGET: Final = clark("ei:eiTarget")
END_DEVICE_ASSET: Final = clark("power:endDeviceAsset")
DEVICE_CLASS: Final = clark("oadr:oadrDeviceClass")
ITEM_BASES: Final = {
    name: clark(f"{prefix}:{name}")
    for prefix, names in {
        "power": "voltage energyApparent energyReactive energyReal powerApparent powerReactive powerReal",
        "oadr": "customUnit current currency currencyPerKWh currencyPerKW currencyPerThm frequency Therm temperature "
        "pulseCount",
    }.items()
    for name in names.split()
}
"""itemBase elements by local name."""
ITEM_BASE_TAGS: Final = frozenset(ITEM_BASES.values())

# Time
DATE_TIME: Final = clark("xcal:date-time")
DTSTART: Final = clark("xcal:dtstart")
DURATION: Final = clark("xcal:duration")
UID: Final = clark("xcal:uid")
PROPERTIES: Final = clark("xcal:properties")
INTERVALS: Final = clark("strm:intervals")
GRANULARITY: Final = clark("xcal:granularity")

# EiEvent
EI_CREATED_EVENT: Final = clark("pyld:eiCreatedEvent")
EI_REQUEST_EVENT: Final = clark("pyld:eiRequestEvent")
REPLY_LIMIT: Final = clark("pyld:replyLimit")
EVENT_RESPONSES: Final = clark("ei:eventResponses")
OADR_EVENT: Final = clark("oadr:oadrEvent")
EVENT_DESCRIPTOR: Final = clark("ei:eventDescriptor")
ACTIVE_PERIOD: Final = clark("ei:eiActivePeriod")
EVENT_SIGNALS: Final = clark("ei:eiEventSignals")
EVENT_SIGNAL: Final = clark("ei:eiEventSignal")
EVENT_BASELINE: Final = clark("ei:eiEventBaseline")
RESPONSE_REQUIRED: Final = clark("oadr:oadrResponseRequired")
MODIFICATION_DATE_TIME: Final = clark("ei:modificationDateTime")
MODIFICATION_REASON: Final = clark("ei:modificationReason")
PRIORITY: Final = clark("ei:priority")
EI_MARKET_CONTEXT: Final = clark("ei:eiMarketContext")
EVENT_STATUS: Final = clark("ei:eventStatus")
TEST_EVENT: Final = clark("ei:testEvent")
VTN_COMMENT: Final = clark("ei:vtnComment")
TOLERANCE: Final = clark("xcal:tolerance")
NOTIFICATION: Final = clark("ei:x-eiNotification")
RAMP_UP: Final = clark("ei:x-eiRampUp")
RECOVERY: Final = clark("ei:x-eiRecovery")
SIGNAL_NAME: Final = clark("ei:signalName")
SIGNAL_TYPE: Final = clark("ei:signalType")
SIGNAL_ID: Final = clark("ei:signalID")
CURRENT_VALUE: Final = clark("ei:currentValue")
SIGNAL_PAYLOAD: Final = clark("ei:signalPayload")
PAYLOAD_FLOAT: Final = clark("ei:payloadFloat")
VALUE: Final = clark("ei:value")
BASELINE_ID: Final = clark("ei:baselineID")
BASELINE_NAME: Final = clark("ei:baselineName")

# EiOpt
VAVAILABILITY: Final = clark("xcal:vavailability")

# EiReport
REPORT: Final = clark("oadr:oadrReport")
REPORT_DESCRIPTION: Final = clark("oadr:oadrReportDescription")
REPORT_REQUEST: Final = clark("oadr:oadrReportRequest")
REPORT_REQUEST_ID: Final = clark("ei:reportRequestID")
REPORT_SPECIFIER: Final = clark("ei:reportSpecifier")
REPORT_SPECIFIER_ID: Final = clark("ei:reportSpecifierID")
REPORT_NAME: Final = clark("ei:reportName")
REPORT_ID: Final = clark("ei:eiReportID")
REPORT_TO_FOLLOW: Final = clark("pyld:reportToFollow")
PENDING_REPORTS: Final = clark("oadr:oadrPendingReports")
CANCEL_REPORT: Final = clark("oadr:oadrCancelReport")
REPORT_SUBJECT: Final = clark("ei:reportSubject")
REPORT_DATA_SOURCE: Final = clark("ei:reportDataSource")
REPORT_TYPE: Final = clark("ei:reportType")
READING_TYPE: Final = clark("ei:readingType")
SAMPLING_RATE: Final = clark("oadr:oadrSamplingRate")
REPORT_BACK_DURATION: Final = clark("ei:reportBackDuration")
REPORT_INTERVAL: Final = clark("ei:reportInterval")
SPECIFIER_PAYLOAD: Final = clark("ei:specifierPayload")
R_ID: Final = clark("ei:rID")
REPORT_PAYLOAD: Final = clark("oadr:oadrReportPayload")
GREEN_BUTTON: Final = clark("oadr:oadrGBPayload")
RESOURCE_STATUS: Final = clark("oadr:oadrPayloadResourceStatus")
CONFIDENCE: Final = clark("ei:confidence")
ACCURACY: Final = clark("ei:accuracy")
DATA_QUALITY: Final = clark("oadr:oadrDataQuality")
CAPACITY: Final = clark("oadr:oadrCapacity")
LEVEL_OFFSET: Final = clark("oadr:oadrLevelOffset")
PERCENT_OFFSET: Final = clark("oadr:oadrPercentOffset")
SET_POINT: Final = clark("oadr:oadrSetPoint")
STATE_MIN: Final = clark("oadr:oadrMin")
STATE_MAX: Final = clark("oadr:oadrMax")
STATE_CURRENT: Final = clark("oadr:oadrCurrent")
STATE_NORMAL: Final = clark("oadr:oadrNormal")

METADATA_PREFIX: Final = "METADATA_"
"""Marks the reportName of a metadata report (RP-04)."""
NOT_APPLICABLE: Final = "x-notApplicable"
"""The readingType in report requests (RP-23)."""
NO_R_ID: Final = "0"
"""The rID in a request for metadata (RP-14)."""

# EiRegisterParty
PROFILES: Final = clark("oadr:oadrProfiles")
PROFILE_NAME: Final = clark("oadr:oadrProfileName")
TRANSPORT_NAME: Final = clark("oadr:oadrTransportName")
TRANSPORT_ADDRESS: Final = clark("oadr:oadrTransportAddress")
REPORT_ONLY: Final = clark("oadr:oadrReportOnly")
XML_SIGNATURE: Final = clark("oadr:oadrXmlSignature")
VEN_NAME: Final = clark("oadr:oadrVenName")
HTTP_PULL_MODEL: Final = clark("oadr:oadrHttpPullModel")
POLL_FREQ: Final = clark("oadr:oadrRequestedOadrPollFreq")
