"""The commands, a file a subject, as ``accelsim.cli`` runs them: each calls the face and prints what came of it.

A command is a function that imports what it needs inside, so that ``--help`` and a mistyped file name answer at once.
It raises InputError for bad input and leaves printing the error to ``cli.main``.
"""
