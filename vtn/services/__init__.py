"""One module a domain noun, version-neutral: registration, enrolment, event, report, opt, participation."""
