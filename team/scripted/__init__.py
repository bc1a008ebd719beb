"""A scripted model behind a real HTTP endpoint, for tests, demonstrations and rehearsals of cost. It thinks nothing."""
