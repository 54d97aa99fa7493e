"""The certificate authority: issue, renew, revoke; enrolment bundles. May import `core` and `openadr`."""
