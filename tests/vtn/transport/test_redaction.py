"""Secrets in messages: blanked however they are written, before anything is stored."""

import pytest

from vtn.transport.redaction import BLANK, readable, redacted

SIGNED = (
    b'<o:m xmlns:o="u" xmlns:ei="e" xmlns:ds="d"><ei:registrationID>secret1</ei:registrationID>'
    b"<ds:X509Certificate>secret2</ds:X509Certificate><ds:SignatureValue Id='s'>secret3\n</ds:SignatureValue>"
    b"<ei:venID>ven_1</ei:venID></o:m>"
)


@pytest.mark.parametrize("body", [SIGNED, SIGNED[:-6], b"\xef\xbb\xbf  " + SIGNED, SIGNED.replace(b"ei:", b"")])
def test_keys_and_ids_of_registration_are_blanked(body):
    shown = redacted(body)
    assert b"secret" not in shown
    assert shown.count(BLANK) == 3
    assert b"ven_1" in shown


@pytest.mark.parametrize(
    "body",
    [
        b"<registrationID><![CDATA[secret]]></registrationID>",
        b"<registrationID><!-- x -->secret</registrationID>",
        b"<registrationID\n a='>'>secret</registrationID >",
        "<é:registrationID>secret</é:registrationID>".encode(),
        b"<registrationID>secre",
        b"<registrationID>sec&#114;et secret",
        "<registrationID>secret</registrationID>".encode("utf-16"),
        "<registrationID>secret</registrationID>".encode("utf-32"),
        "<registrationID>secret</registrationID>".encode("cp037"),
        b"<?xml version='1.0' encoding='UTF-7'?>+ADw-registrationID+AD4-secret",
        b"<ei:RegistrationId>secret</ei:RegistrationId>",
        b"<registrationID>secret</REGISTRATIONID>",
        b"<oadrCancelPartyRegistration registrationID = 'secret'/>",
        b'<a xmlns:ei="e" ei:registrationID="secret"/>',
        b'{"registrationID": "secret"}',
        b"{'registrationid' : 'secret'}",
        b"registrationID=secret&venID=v",
        b"<registrationID><!--</registrationID>-->secret</registrationID>",
        b"<registrationID><![CDATA[</registrationID>]]>secret</registrationID>",
        b"<registrationID a='<'>secret</registrationID>",
        b'<p name="registrationID" value="secret"/>',
        b"<p name = 'registrationID' value='secret'/>",
        b"<?xml version='1.0'" + b" " * 500 + b"encoding='UTF-7'?>+ADw-registrationID+AD4-secret",
        b"<!DOCTYPE a [<!ENTITY b 'secret'>]><a><registrationID>&b;</registrationID></a>",
    ],
)
def test_a_secret_does_not_hide(body):
    assert b"secret" not in redacted(body)
    assert "secret".encode("utf-16-le") not in redacted(body)
    assert "secret".encode("cp037") not in redacted(body)
    assert BLANK in redacted(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<a><registrationID/><venID>v</venID></a>",
        b"<a><registrationID a='1'/><venID>v</venID></a>",
        b"<a><registrationID> </registrationID><venID>v</venID></a>",
        b"<?xml version='1.0' encoding='utf-8'?><a>v</a>",
        b"hello",
        b"Not a valid OpenADR 2.0b message: Element 'registrationID': This element is not expected ( venID ).",
        b"<a><responseDescription>Element 'registrationID': [facet 'minLength'] too short</responseDescription></a>",
        b"<a><vtnComment>registrationID: see the letter</vtnComment></a>",
        b"<a><responseDescription>The registrationID is not that of this VEN.</responseDescription></a>",
        "Größe".encode(),
        "Größe".encode()[:3],
        b"",
    ],
)
def test_what_is_no_secret_stays(body):
    assert redacted(body) == body


def test_what_is_whole_is_indented_and_nothing_is_fetched():
    assert readable("<a><b>1</b></a>") == "<a>\n  <b>1</b>\n</a>\n"
    assert readable("<a><b>") == "<a><b>"
    assert readable("") == ""
    assert "root:" not in readable("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>")
